"""The API under `/api/v1`: each subject has a module in `v1/`; `urls.py` puts them together."""
