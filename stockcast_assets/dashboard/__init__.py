"""The dashboard: a Streamlit app that reads the warehouse and never writes.

`run` starts it, `app` is the script Streamlit executes, `views` holds one module per page, `data` every read,
`summaries` the numbers and `charts` the figures (both plain functions of frames).
"""
