# Prints what Python's cookie parsers find under app_session, as JSON.
import json
import runpy
import sys
from http.cookies import CookieError, SimpleCookie

from werkzeug.wrappers import Request

# The module alone: the rest of Django wants a project.
django_parse = runpy.run_path(sys.argv[2])["parse_cookie"]


def simple(line):
    jar = SimpleCookie()
    try:
        jar.load(line)
    except CookieError:
        return []
    return [jar["app_session"].value] if "app_session" in jar else []


def django(line):
    found = django_parse(line)
    return [found["app_session"]] if "app_session" in found else []


def werkzeug(line):
    try:
        return Request({"HTTP_COOKIE": line}).cookies.getlist("app_session")
    except UnicodeDecodeError:  # it answers 500
        return []


lines = json.load(open(sys.argv[1]))
json.dump({
    "Python http.cookies": [simple(line) for line in lines],
    "Django": [django(line) for line in lines],
    "Werkzeug": [werkzeug(line) for line in lines],
}, sys.stdout)
