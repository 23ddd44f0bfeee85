"""How Sphinx makes a site of the Markdown files beside it: `make docs`, which fails at any warning.

The files are plain Markdown, as GitHub reads them: no directives, and links name files and the
anchors that GitHub gives to headings.
"""

project = "rlkd_plugin"
author = "The rlkd_plugin authors"
language = "en"

extensions = ["myst_parser"]
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
root_doc = "index"
exclude_patterns = ["README.md"]  # index.rst includes it
myst_heading_anchors = 4  # a link may name a heading down to this level
nitpicky = True
smartquotes = False  # it turns the two hyphens of an option into a dash

html_theme = "furo"
html_title = "rlkd_plugin"
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
