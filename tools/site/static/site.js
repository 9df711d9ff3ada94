// Opened from a folder, a browser lets no page read another: the search lists what it found without a piece of its text.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
