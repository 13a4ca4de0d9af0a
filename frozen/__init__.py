"""Images, frozen models, and what is captured of them: nothing here trains, and nothing here knows Ray."""
