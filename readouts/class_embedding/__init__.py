"""The read-out `class_embedding`: when a token becomes its class, and what put it there.

Every token of every layer is read with the model's own classifier (Vilas et al., Analyzing Vision Transformers for
Image Classification in Class Embedding Space, NeurIPS 2023, arXiv 2310.18969). Nothing is trained.
"""
