from django.urls import path

from bakery.views import ovens

urlpatterns = [path("ovens", ovens)]
