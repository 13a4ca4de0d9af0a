"""The read-out `captions`: what each layer of a captioning model can say of an image, and whether it is right."""
