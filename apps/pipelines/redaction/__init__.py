"""Redaction: what the model must not see is masked before the prompt leaves.

Found are e-mail addresses, phone numbers, cards, IBANs and national ids, and whatever the
pipeline's own paths and patterns say. Nothing found is stored or logged: only how many.
"""
