"""What `mtls-as doctor` knows: it looks at servers as a client would, and says what to do about what it finds.

`observe` looks, and judges nothing; `checks` judge what was seen, and look at nothing themselves; `report` puts the
findings in order. Tokens stay within `observe`.
"""
