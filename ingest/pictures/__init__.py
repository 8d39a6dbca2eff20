"""Pictures: folders of them, files that name, split or caption them, and files that hold them."""
