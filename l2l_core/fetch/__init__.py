"""Getting the raw files of a data set: where they live, how they come here, how they are read in place.

From the network up: `web` gets one address, `sources` knows what each host needs, `partial` keeps what broke off,
`checks` says whether bytes are the file that was meant, `receipts` remember what came, and `download` puts these
together. `cache` knows the folders, `consent` the licences that must be accepted first, `archives` and `pickles` read
what has come. None of them imports torch.
"""
