"""The read-out `text_decomposition`: what every head writes into a CLIP's image embedding, in words.

After Gandelsman, Efros and Steinhardt, Interpreting CLIP's Image Representation via Text-Based Decomposition
(ICLR 2024).
"""
