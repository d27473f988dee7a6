-- Open overviews: each asks for the counts every two seconds, and for a series and the minutes every thirty.
-- Arguments: the target of the series.
local series = ""
local asked = 0

function init(arguments)
    series = arguments[1]
end

function delay()
    return math.random(1000, 3000)
end

function request()
    asked = asked + 1
    return wrk.format("GET", asked % 15 == 0 and series or "/Log/auth/statistics")
end
