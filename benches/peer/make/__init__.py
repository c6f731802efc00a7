"""Programs that write the model in another form: `python -m peer.make.NAME SOURCE TARGET`, two folders."""
