"""How allauth is fitted to the panel."""

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest


class AccountAdapter(DefaultAccountAdapter):
    """Nobody signs up by themselves: the first user comes by the set-up link, others by the people of a team."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False
