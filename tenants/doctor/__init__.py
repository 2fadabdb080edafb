"""Proves isolation on the real servers of the deployment: one check a module, findings in words."""
