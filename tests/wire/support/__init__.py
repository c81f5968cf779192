"""What the wire tests share: a real Segue, a scripted origin and a client that sees every byte."""
