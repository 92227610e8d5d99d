"""What `manage.py up` and `manage.py test` are made of.

Standard library only: this package runs before the virtual environment exists. The one exception
is `local_llm`, which is itself a process started inside the virtual environment.
"""
