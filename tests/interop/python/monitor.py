"""The application that Flower is started with: it knows the tasks by name, as that of a team does."""

import os

from fixture import client

app = client(os.environ["WIRE_BROKER"])
