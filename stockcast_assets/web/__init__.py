"""What stands between a browser and the web pages: who may ask, under which name, and what an answer may do."""
