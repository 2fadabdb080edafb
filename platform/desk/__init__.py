"""The sample tenant app: a small help desk. An ordinary Django app; replace it with yours."""
