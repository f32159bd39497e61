"""Is this installation set up so that what is promised holds? Looks, and changes nothing."""
