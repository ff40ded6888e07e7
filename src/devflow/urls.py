"""Every address of the panel: the API under `/api/v1`, pages elsewhere. (Event streams and health: `devflow.asgi`.)"""

from django.urls import include, path

handler400 = "devflow.web.errors.bad_request"
handler403 = "devflow.web.errors.forbidden"
handler404 = "devflow.web.errors.not_found"
handler500 = "devflow.web.errors.server_error"

urlpatterns = [
    path("api/v1/", include("devflow.api.urls")),
    path("", include("devflow.web.urls")),
]
