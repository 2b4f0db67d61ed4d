"""Getting the raw files of a data set: where they live, how they come here, how they are read in place.

`cache` knows the folders, `download` fills them with verified files, `archives` reads what lies in them; each works
without the other two, and none imports torch.
"""
