"""Builders: sizes in, a plain ``keras.Model`` out. One module a family of networks."""
