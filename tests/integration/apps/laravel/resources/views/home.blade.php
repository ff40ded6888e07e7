<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{{ $greeting }}</title></head>
<body><h1>{{ $greeting }}</h1><p>{{ $visits }} visits</p></body>
</html>
