"""What an earlier commit answered to the inputs of its reported defects, beside what this one answers."""
