"""Are replicas equal, where do they differ, and which version of a row is the right one?"""
