"""What runs inside the isolation: judge, fork server, candidate. Standard library only, Python 3.10 or newer.

The host imports nothing from here but `wire`; the folder is copied into the image as it is.
"""
