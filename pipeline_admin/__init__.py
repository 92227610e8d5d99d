"""The Django project. Imports nothing: `manage.py up` begins here, before anything is installed."""
