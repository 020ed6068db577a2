"""The training loop and its parts; nothing here knows of Ray, MLflow or files of structures."""
