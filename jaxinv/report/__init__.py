"""Reports: pages of sections, as HTML that needs no other file and as Markdown.

Whoever has something to report hands over sections (`sections`); `pages` makes those of any stored study. What they say
is computed by `jaxinv.stats` and drawn by `jaxinv.plots`. (Nothing is imported here: `terminal` needs no matplotlib.)
"""
