"""Problems out of other people's files: rows of data sets with a mapping of columns, verl's and open-r1's rows, pytest
files. Data sets are trusted; nothing of them is run here.
"""
