"""Certificates and trust: does this certificate chain, now, to the anchors of this trust domain?"""
