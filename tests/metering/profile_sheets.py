"""Raw registers of every meter type, written by hand from the manuals' encodings.

A sheet begins with ``==`` and a profile's name. ``fc address words`` are registers as the meter
holds them (hexadecimal words; ``*n`` for n times 0), ``>`` is what has to be read from them,
``-`` for nothing at all: Wh, Wh, W, mV of each phase, mHz, step and moduli in Wh, serial. A line
with ``!`` is a watched setting: its value and whether the profile calls it safe.
"""

SHEETS = """
== eastron_sdm120
4 0x0000 *80
4 0x0000 4366 8000
4 0x000C C4BB 9000
4 0x0046 4248 0000
4 0x0048 449A 5000 3F40 0000
3 0xFC00 0140 2A3B 0020
3 0xF920 0002
> import=1234500 export=750 power=-1500 volts=230500,-,-
> hertz=50000 step=1 modulus=-,- serial=20982331
! measurement mode = 2 safe

== eastron_sdm120 missing
4 0x0000 *80
4 0x0000 7FC0 0000
4 0x000C 7F80 0000
4 0x0046 FF80 0000
4 0x0048 7FC0 0000 FFFF FFFF
3 0xFC00 0140 2A3B 0020
> import=- export=- power=- volts=-,-,-
> hertz=- step=1 modulus=-,- serial=20982331
! measurement mode = - safe

== eastron_sdm630
4 0x0000 *80
4 0x0000 4367 4000 4365 C000 4364 8000
4 0x0034 454B 2400
4 0x0046 4248 147B
4 0x0048 4743 5000 4148 0000
3 0xFC00 0000 FFFF 0070
3 0x000A 4040 0000
> import=50000000 export=12500 power=3250 volts=231250,229750,228500
> hertz=50020 step=4 modulus=-,- serial=65535
! system type = 3 safe

== carlo_gavazzi_em340
4 0x0000 *80
4 0x0000 090A 0000 08FB 0000 0906 0000
4 0x000B 0155
4 0x0028 C563 FFFF
4 0x0033 01F4 1206 000F
4 0x004E 007B 0000
4 0x5000 424B 3037 3830 3033 3230 3031 4200
3 0x1103 0001
> import=98765400 export=12300 power=-1500 volts=231400,229900,231000
> hertz=50000 step=100 modulus=-,- serial=BK0780032001B
! measurement mode = 1 safe

== carlo_gavazzi_em340 missing
4 0x0000 *80
4 0x0000 FFFF 7FFF FFFF 7FFF FFFF 7FFF
4 0x000B 0155
4 0x0028 FFFF 7FFF
4 0x0033 FFFF FFFF 7FFF
4 0x004E FFFF 7FFF
4 0x5000 *7
3 0x1103 0000
> import=- export=- power=- volts=-,-,-
> hertz=- step=1 modulus=-,- serial=-
! measurement mode = 0 unsafe

== carlo_gavazzi_em24_e1
4 0x0000 *80
4 0x0000 090A 0000 08FB 0000 0906 0000
4 0x000B 0672
4 0x0028 3A9D 0000
4 0x0033 01F3 0001 0001
4 0x004E 0000 0000
4 0x5000 4B52 3030 3131 3232 3333 3434 5800
3 0xA000 0007
3 0xA100 0000
> import=6553700 export=0 power=1501 volts=231400,229900,231000
> hertz=49900 step=100 modulus=-,- serial=KR0011223344X
! application = 7 safe
! front selector = 0 unsafe

== carlo_gavazzi_em24_din
4 0x0000 090A 0000 08FB 0000 0906 0000
4 0x000B 0047
4 0x0028 C563 FFFF
4 0x0037 01F4
4 0x003E 1206 000F *2 FFFF 0000
4 0x005C 007B 0000
4 0x1300 424B 3037 3830 3033 3230 3031 4200
3 0x1101 0007
3 0x112C 0190 0000 000A 0000
> import=98765400 export=12300 power=-1500 volts=231400,229900,231000
> hertz=50000 step=100 modulus=-,- serial=BK0780032001B
! application = 7 safe
! current transformer ratio (tenths) = 400 safe
! voltage transformer ratio (tenths) = 10 safe

== carlo_gavazzi_em24_din without an export counter
4 0x0000 090A 0000 08FB 0000 0906 0000
4 0x000B 0049
4 0x0028 3A9D 0000
4 0x0037 01F4
4 0x003E 1206 000F
3 0x1101 0000
> import=98765400 export=- power=1501 volts=231400,229900,231000
> hertz=50000 step=100 modulus=-,- serial=-
! application = 0 unsafe
! current transformer ratio (tenths) = - safe
! voltage transformer ratio (tenths) = - safe

== carlo_gavazzi_em111
4 0x0000 *34
4 0x0000 08F8 0000
4 0x0004 FF38 FFFF
4 0x000B 0067
4 0x000F 01F4 270F 0000
4 0x0020 0001 0000
4 0x5000 4B42 3132 3334 3536 3738 3930 3100
3 0x1103 0001
> import=999900 export=100 power=-20 volts=229600,-,-
> hertz=50000 step=100 modulus=-,- serial=KB12345678901
! measurement mode = 1 safe

== carlo_gavazzi_em111 missing
4 0x0000 *34
4 0x0000 FFFF 7FFF
4 0x0004 FFFF 7FFF
4 0x000B 0067
4 0x000F 7FFF FFFF 7FFF
4 0x0020 FFFF 7FFF
3 0x1103 0001
> import=- export=- power=- volts=-,-,-
> hertz=- step=1 modulus=-,- serial=-
! measurement mode = 1 safe

== schneider_iem3155
3 49 6945 4D33 3135 3500 *16
3 129 0134 5678
3 0x0BD3 4366 8000 4365 C000 4367 4000
3 0x0BF3 BFA0 0000
3 0x0C25 4247 EB85
3 0x0C83 0000 0000 00BC 614E 0000 0001 0000 002A
3 7273 0005
> import=12345678 export=4294967338 power=-1250 volts=230500,229750,231250
> hertz=49980 step=1 modulus=-,- serial=20207224
! digital input mode = 5 unsafe

== schneider_iem3155 missing
3 49 6945 4D33 3135 3500 *16
3 129 0134 5678
3 0x0BD3 FFC0 0000 FFC0 0000 FFC0 0000
3 0x0BF3 FFC0 0000
3 0x0C25 FFC0 0000
3 0x0C83 8000 0000 0000 0000 8000 0000 0000 0000
3 7273 0000
> import=- export=- power=- volts=-,-,-
> hertz=- step=1 modulus=-,- serial=20207224
! digital input mode = 0 safe

== abb_b23
3 0x5000 0000 0000 0012 D687 0000 0000 0000 0005
3 0x5B00 *45
3 0x5B00 0000 0901 0000 08FB 0000 0906
3 0x5B14 FFFD B5DE
3 0x5B2C 1389
3 0x8900 0012 3456
3 0x8960 4232 3320 3131 322D 3130 3020
> import=12345670 export=50 power=-1500 volts=230500,229900,231000
> hertz=50010 step=10 modulus=-,- serial=1193046

== abb_b23 missing
3 0x5000 FFFF FFFF FFFF FFFF FFFF FFFF FFFF FFFF
3 0x5B00 *45
3 0x5B00 FFFF FFFF FFFF FFFF FFFF FFFF
3 0x5B14 7FFF FFFF
3 0x5B2C FFFF
3 0x8900 0012 3456
3 0x8960 4232 3320 3131 322D 3130 3020
> import=- export=- power=- volts=-,-,-
> hertz=- step=1 modulus=-,- serial=1193046

== abb_b24
3 0x5000 0000 0001 0000 0000 0000 0000 0000 0000
3 0x5B00 *45
3 0x5B00 0000 0901 0000 08FB 0000 0906
3 0x5B14 0000 2710
3 0x5B2C 1388
3 0x8900 0012 3457
3 0x8960 4232 3420 3131 322D 3130 3020
3 0x8C04 0000 0028 0000 0001
> import=42949672960 export=0 power=100 volts=230500,229900,231000
> hertz=50000 step=10 modulus=-,- serial=1193047
! current transformer ratio, numerator = 40 safe
! current transformer ratio, denominator = 1 safe

== janitza_umg604
3 19000 *78
3 19000 4366 8000 4365 C000 4367 4000
3 19026 C52B E800
3 19050 4248 0000
3 19068 4C3E BC20
3 19076 4AE9 9762
> import=50000000 export=7654321 power=-2750 volts=230500,229750,231250
> hertz=50000 step=4 modulus=-,- serial=-

== janitza_umg96rm
3 10 4348 0000 40A0 0000 43C8 0000 43C8 0000
3 19000 *78
3 19000 4366 8000 7FC0 0000 4367 4000
3 19026 7FC0 0000
3 19050 7FC0 0000
3 19068 4B80 0000
3 19076 7FC0 0000
> import=16777216 export=- power=- volts=230500,-,231250
> hertz=- step=2 modulus=-,- serial=-
! current transformer, primary (A) = 200 safe
! current transformer, secondary (A) = 5 safe
! voltage transformer, primary (V) = 400 safe
! voltage transformer, secondary (V) = 400 safe

== sunspec_meter 203 at 40000, counters in tens of Wh
3 40000 5375 6E53 0001 0042 *66
3 40052 3437 3131 2D41
3 40070 00CB 0069 *105 FFFF 0000
3 40078 0901 08FB 0906
3 40085 FFFF 1388 FFFE FF6A
3 40092 0001
3 40108 0000 0005
3 40116 0001 0000
3 40124 0001
> import=655360 export=50 power=-1500 volts=230500,229900,231000
> hertz=50000 step=10 modulus=42949672960,42949672960 serial=4711-A

== sunspec_meter 201 at 0, new: it counted nothing yet, and one counter runs in tenths of a Wh
3 0 5375 6E53 0001 0042 *66
3 70 00C9 0069 *105 FFFF 0000
3 78 0901 8000 8000
3 85 FFFF 1388 8000 0000
3 92 0000
3 108 0000 0000
3 116 0000 0000
3 124 FFFF
> import=0 export=0 power=0 volts=230500,-,-
> hertz=- step=1 modulus=429496729,429496729 serial=-

== sunspec_meter 204 without counters
3 40000 5375 6E53 0001 0042 *66
3 40070 00CC 0069 *105 FFFF 0000
3 40078 8000 8000 8000
3 40085 FFFF 8000 FFFE 8000
3 40092 0001
3 40124 8000
> import=- export=- power=- volts=-,-,-
> hertz=- step=1 modulus=-,- serial=-

== sunspec_meter 213 (float) at 50000, behind a model that is no meter
3 50000 5375 6E53 0001 0042 *66 FA01 0003 *3
3 50052 5352 3939
3 50075 00D5 007C *124 FFFF 0000
3 50087 4366 8000 4365 C000 4367 4000
3 50101 4248 0000 454B 2400
3 50135 4AE9 9762
3 50143 4C3E BC20
> import=50000000 export=7654321 power=3250 volts=230500,229750,231250
> hertz=50000 step=4 modulus=-,- serial=SR99

== sunspec_meter 211 (float) missing
3 40000 5375 6E53 0001 0042 *66
3 40070 00D3 007C *124 FFFF 0000
3 40082 7FC0 0000 7FC0 0000 7FC0 0000
3 40096 7FC0 0000 7FC0 0000
3 40130 7FC0 0000
3 40138 7FC0 0000
> import=- export=- power=- volts=-,-,-
> hertz=- step=1 modulus=-,- serial=-

== sunspec_inverter 103
3 40000 5375 6E53 0001 0042 *66
3 40052 494E 562D 3031
3 40070 0067 0032 *50 FFFF 0000
3 40080 0901 08FB 0906 FFFF 01A4 0001 1389 FFFE
3 40094 0098 9680 0000
> import=- export=10000000 power=-4200 volts=230500,229900,231000
> hertz=50010 step=1 modulus=-,4294967296 serial=INV-01

== sunspec_inverter 101 asleep: no power, one phase
3 40000 5375 6E53 0001 0042 *66
3 40070 0065 0032 *50 FFFF 0000
3 40080 FFFF FFFF FFFF FFFF 8000 0000 FFFF FFFE
3 40094 0098 9680 0003
> import=- export=10000000000 power=- volts=-,-,-
> hertz=- step=1000 modulus=-,4294967296000 serial=-

== sunspec_inverter 113 (float)
3 40000 5375 6E53 0001 0042 *66
3 40070 0071 003C *60 FFFF 0000
3 40086 4366 8000 4365 C000 4367 4000 458C A000 4248 0000
3 40102 4AE9 9762
> import=- export=7654321 power=-4500 volts=230500,229750,231250
> hertz=50000 step=1 modulus=-,- serial=-

== sunspec_der 701, behind the same device's model 103
3 40000 5375 6E53 0001 0042 *66
3 40052 4445 5237
3 40070 0067 0032 *50
3 40122 02BD 0099 *153 FFFF 0000
3 40132 FF38
3 40139 0000 1389 0000 0000 0098 9680 0000 0001 0000 0000
3 40169 0901
3 40192 08FB
3 40215 0906
3 40236 FFFF FFFE 0001
3 40242 0000
> import=4294967296 export=10000000 power=2000 volts=230500,229900,231000
> hertz=50010 step=1 modulus=-,- serial=DER7

== sunspec_der 701 missing
3 40000 5375 6E53 0001 0042 *66
3 40070 02BD 0099 *153 FFFF 0000
3 40080 8000
3 40087 FFFF FFFF FFFF FFFF FFFF FFFF FFFF FFFF FFFF FFFF
3 40117 FFFF
3 40140 FFFF
3 40163 FFFF
3 40184 FFFF FFFE 0001
3 40190 0000
> import=- export=- power=- volts=-,-,-
> hertz=- step=1 modulus=-,- serial=-
"""
