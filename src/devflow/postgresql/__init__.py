"""Django's database backend of the panel: PostgreSQL, which may be away for a while (`base.py`, `pools.py`)."""
