"""Every address of the panel: the API under `/api/v1`, pages elsewhere. (Event streams and health: `devflow.asgi`.)"""

from django.urls import include, path

urlpatterns = [
    path("api/v1/", include("devflow.api.urls")),
    path("", include("devflow.web.urls")),
]
