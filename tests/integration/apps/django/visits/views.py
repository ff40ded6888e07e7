from django.http import HttpResponse

from visits.models import Visit


def home(request):
    Visit.objects.create()
    return HttpResponse(f"Django sample, {Visit.objects.count()} visits", content_type="text/plain")
