"""What the page is made of, apart from its layout: words, pictures, and the guard at the door."""
