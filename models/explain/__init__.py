"""Why a score is what it is: contributions that add up, and the words for them."""
