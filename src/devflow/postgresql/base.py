"""Django's PostgreSQL backend with two differences: a session that the server has ended is a lost connection, and the
pool tries again soon where PostgreSQL was away."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.postgresql import base
from django.db.utils import DatabaseErrorWrapper, OperationalError
from django.utils.functional import cached_property

from devflow.postgresql.pools import SESSION_ENDED, SoonPool


class _Errors(DatabaseErrorWrapper):
    wrapper: Any

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        if isinstance(exc_value, SESSION_ENDED):
            self.wrapper.errors_occurred = True
            raise OperationalError(*exc_value.args).with_traceback(traceback) from exc_value
        super().__exit__(exc_type, exc_value, traceback)


class DatabaseWrapper(base.DatabaseWrapper):
    """The backend of the setting ENGINE `devflow.postgresql`."""

    _connection_pools: ClassVar[dict[str, SoonPool]]
    _configure_connection: Any

    @cached_property
    def wrap_database_errors(self) -> _Errors:
        return _Errors(self)

    @property
    def pool(self) -> SoonPool | None:
        options = self.settings_dict["OPTIONS"].get("pool")
        if self.alias == NO_DB_ALIAS or not options:
            return None
        if self.alias not in self._connection_pools:
            made = SoonPool(
                kwargs={**self.get_connection_params(), "autocommit": True},
                open=False,
                configure=self._configure_connection,
                check=SoonPool.check_connection if self.settings_dict["CONN_HEALTH_CHECKS"] else None,
                **options,
            )
            self._connection_pools.setdefault(self.alias, made)  # of several threads the first one's is used
        return self._connection_pools[self.alias]
