"""What the stories stand on: servers, clients, teald itself, and its replies."""
