# pyright: reportMissingImports=false
"""The addresses of the django-helpdesk site."""

from django.urls import include, path

urlpatterns = [path("", include("helpdesk.urls"))]
