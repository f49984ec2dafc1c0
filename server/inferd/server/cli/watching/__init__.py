"""`inferd status` and `inferd top`: what a running server tells of itself, once or again and again."""
