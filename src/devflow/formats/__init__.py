"""How each language writes dates (Django's FORMAT_MODULE_PATH): {{ moment|date:"SHORT_DATETIME_FORMAT" }}."""
