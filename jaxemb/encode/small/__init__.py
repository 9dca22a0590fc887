"""Small encoders: token tables, convolutions and recurrent networks, as papers compare with."""
