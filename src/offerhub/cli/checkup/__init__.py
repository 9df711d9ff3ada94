"""The examination behind `offerhub doctor`: each check says what it found, and what to do about it."""
