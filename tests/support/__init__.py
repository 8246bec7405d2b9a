"""What several rooms of the tests share: peers, engines and servers. No mocks of our own code."""
