"""An ordinary Django app, as a product team has it."""
