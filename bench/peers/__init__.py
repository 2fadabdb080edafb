"""What Meridian is compared with: plain Django and django-tenants, each on the same app.

Only `environment.py` runs in Meridian's process; the other modules run in the peers' own
environment, and `shop` in both.
"""
