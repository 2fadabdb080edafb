from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from bakery.models import Oven


@csrf_exempt
def ovens(request: HttpRequest) -> JsonResponse:
    if request.method == "POST":
        Oven.objects.create(name=request.POST["name"])
    names = sorted(Oven.objects.values_list("name", flat=True))
    user = request.user.get_username() if request.user.is_authenticated else None
    return JsonResponse({"ovens": names, "user": user})
